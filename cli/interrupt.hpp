// Ctrl-C. The first one asks the work to stop at its next check; work that does not within a fifth of a second is ended where it
// stands, and so is all at a second one. Either way the program exits with 130 and leaves no half-written file.
//
// A model or saved cache is mapped: when its file becomes shorter, reading it is a fault (SIGBUS). Then the program says so and exits
// with 1.
#pragma once

namespace qjl::cli {

struct Interrupted {};  // thrown by check_interrupt

void catch_interrupts();
void catch_lost_files();
bool interrupted();
// Throws Interrupted after a Ctrl-C.
void check_interrupt();

// While it lives a first Ctrl-C ends nothing by itself: a chat stops its answer and goes on, a cache is saved whole. Not one in another.
class InterruptsSpared {
 public:
  InterruptsSpared();
  ~InterruptsSpared();
  InterruptsSpared(const InterruptsSpared&) = delete;
  InterruptsSpared& operator=(const InterruptsSpared&) = delete;
};
// Forgets the Ctrl-C that was taken, and ends its time of grace.
void forget_interrupt();

// The file that a signal removes on its way out while this lives: one that is being written and has not its name yet.
class UnfinishedFile {
 public:
  explicit UnfinishedFile(const char* path);  // the caller keeps the text
  ~UnfinishedFile();
  UnfinishedFile(const UnfinishedFile&) = delete;
  UnfinishedFile& operator=(const UnfinishedFile&) = delete;
};

}  // namespace qjl::cli
