#define _GNU_SOURCE
#include "qs_fence.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fence.h"
#include "qs_liburcu.h"
#include "registry.h"
// Also where the read side is not inline: declarations, no code.
#include <urcu/static/urcu-bp.h>
#include <urcu/static/urcu-memb.h>

static int membarrier(int command) { return (int)syscall(SYS_membarrier, command, 0, 0); }

bool qs_fence_is_light;
/// The heavy half is the system call.
static bool heavy_is_call;
/// Under the registry lock.
static bool was_asked;

void qs_fence_heavy(void) {
  if (!__atomic_load_n(&heavy_is_call, __ATOMIC_RELAXED)) return qs_fence();
  if (membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) != 0) qs_membarrier_refused();
}

void qs_fence_use_membarrier_locked(void) {
  if (was_asked) return;
  was_asked = true;
  if (membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) != 0) {
    // Refused since liburcu asked at its start, or already then. No thread has read through this
    // library yet, so liburcu can still use full fences on both sides. Later its grace periods end
    // the process.
#if !defined(CONFIG_RCU_FORCE_SYS_MEMBARRIER)
    urcu_memb_has_sys_membarrier = 0;
    urcu_bp_has_sys_membarrier = 0;
#endif
    return;
  }
  __atomic_store_n(&heavy_is_call, true, __ATOMIC_RELAXED);
  // In between:
  //
  // 1. heavy side: stores its word, and finds that it is to pass a fence only;
  // 2. here: `qs_fence_is_light` is set;
  // 3. light side: its store waits in the buffer, and it loads the heavy side's word from before 1,
  //    which waits as well;
  // 4. heavy side: passes its fence, and loads the light side's word from before 3.
  //
  // With a barrier between 1 and 2, the light side loads the word of 1.
  if (membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) != 0) qs_membarrier_refused();
  __atomic_store_n(&qs_fence_is_light, true, __ATOMIC_RELAXED);
}

void qs_fence_use_membarrier(void) {
  qs_registry_lock();
  qs_fence_use_membarrier_locked();
  qs_registry_unlock();
}
