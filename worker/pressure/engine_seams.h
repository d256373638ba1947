// What the engine works on, as seams: it is tested against a simulated machine.
#pragma once

#include "common/os/memory_gauge.h"
#include "common/os/memory_stall.h"
#include "worker/pressure/engine_requests.h"
#include "worker/pressure/pacer.h"
#include "worker/pressure/pressure_memory.h"
#include "worker/pressure/run_log.h"

namespace ballast::pressure {

// All must outlive the engine.
struct EngineSeams {
  os::MemoryGauge* gauge;
  PressureMemory* memory;
  Pacer* pacer;
  PressureObserver* observer;
  os::MemoryStall* stall = nullptr;    // null where the kernel does not tell: only targets that are a stall need it
  EngineRequests* requests = nullptr;  // null where nobody asks
  bool hold_until_told = false;        // the hold lasts until the requests say so, whatever others do; needs `requests`
};

}  // namespace ballast::pressure
