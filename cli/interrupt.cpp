// The handler of Ctrl-C: sets a flag that the work looks at; a second signal ends the process.
#include "interrupt.hpp"

#include <unistd.h>

#include <csignal>

#include "options.hpp"

namespace qjl::cli {
namespace {

volatile std::sig_atomic_t interrupt_count = 0;

extern "C" void on_interrupt(int) {
  if (interrupt_count > 0) _exit(static_cast<int>(Exit::interrupted));
  interrupt_count = 1;
}

}  // namespace

void catch_interrupts() {
  // Without SA_RESTART: a chat that waits for a line must see the interrupt.
  struct sigaction action{};
  action.sa_handler = on_interrupt;
  sigaction(SIGINT, &action, nullptr);
}

bool interrupted() { return interrupt_count > 0; }

void check_interrupt() {
  if (interrupted()) throw Interrupted{};
}

}  // namespace qjl::cli
