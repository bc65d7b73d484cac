#include "qs_sanitizer.h"
#include "stand_in.h"

#if defined(QS_STANDS_IN)
// The current task: the runtime releases under its address what came before a resume. Weak, for
// programs without tasks.
SWIFT void *swift_task_getCurrent(void) __attribute__((weak));

void qs_task_resumed(void) {
  void *task = swift_task_getCurrent != NULL ? swift_task_getCurrent() : NULL;
  if (task != NULL) __tsan_acquire(task);
}
#else
void qs_task_resumed(void) {}
#endif
