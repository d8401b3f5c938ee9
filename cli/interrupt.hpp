// Ctrl-C. The first one asks the work to stop at its next check and the program then exits with 130; a second one ends it at once.
#pragma once

namespace qjl::cli {

struct Interrupted {};  // thrown by check_interrupt

void catch_interrupts();
bool interrupted();
// Throws Interrupted after a Ctrl-C.
void check_interrupt();

}  // namespace qjl::cli
