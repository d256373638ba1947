// Threads of the library leave signals to the program that embeds it.
#pragma once

#include <pthread.h>

#include <csignal>

namespace ballast::memory {

// Blocks signals in this thread, and so in all threads that it starts, while one lives; but for those that a fault in
// the thread itself raises, for which the program may have a handler.
class SignalBlock {
 public:
  SignalBlock() {
    sigset_t all;
    ::sigfillset(&all);
    for (const int fault : {SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP}) ::sigdelset(&all, fault);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalBlock() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalBlock(const SignalBlock&) = delete;
  SignalBlock& operator=(const SignalBlock&) = delete;

 private:
  sigset_t before_;
};

}  // namespace ballast::memory
