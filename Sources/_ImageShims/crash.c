#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "qs_crash.h"
#include "qs_image.h"

// Everything below `handle` is async-signal-safe: it takes no lock and no memory, and reads memory
// that may not be mapped through the kernel.

static const struct {
  int number;
  const char *name;
} signals[] = {
    {SIGSEGV, "SIGSEGV"}, {SIGBUS, "SIGBUS"},   {SIGILL, "SIGILL"},
    {SIGFPE, "SIGFPE"},   {SIGABRT, "SIGABRT"}, {SIGTRAP, "SIGTRAP"},
};
enum { SIGNALS = sizeof signals / sizeof signals[0], FRAMES = 16, STACK = 64 * 1024 };

static struct sigaction before[SIGNALS];
static atomic_int descriptor = -1;
// The thread that writes its report; 0 before the first crash.
static atomic_int reporter;

// MARK: - Text

// At most PIPE_BUF bytes, so that a pipe that has room takes all of it.
struct text {
  size_t length;
  char bytes[2048];
};

static void flush(struct text *text) {
  struct pollfd file = {.fd = descriptor, .events = POLLOUT};
  // A reader that does not read must not keep the process from dying.
  if (poll(&file, 1, 1000) == 1 && (file.revents & POLLOUT) != 0) {
    ssize_t unused = write(file.fd, text->bytes, text->length);
    (void)unused;
  }
  text->length = 0;
}

static void put(struct text *text, const char *string) {
  for (; *string != 0; string++) {
    if (text->length == sizeof text->bytes) flush(text);
    // A name cannot begin another line.
    text->bytes[text->length++] = *string == '\n' || *string == '\r' ? '?' : *string;
  }
}

static void end_line(struct text *text) {
  if (text->length == sizeof text->bytes) flush(text);
  text->bytes[text->length++] = '\n';
}

static void put_number(struct text *text, uint64_t number, unsigned base) {
  char digits[24];
  int first = sizeof digits - 1;
  digits[first] = 0;
  do {
    digits[--first] = "0123456789abcdef"[number % base];
    number /= base;
  } while (number > 0);
  if (base == 16) put(text, "0x");
  put(text, digits + first);
}

static void put_module(struct text *text, const struct qs_module_record *record) {
  put(text, record->name);
  if (record->version[0] != 0) {
    put(text, " ");
    put(text, record->version);
  }
}

static void put_state(struct text *text, const struct qs_module_record *record) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  uint64_t now = (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
  uint64_t age = now > record->changed ? (now - record->changed) / 1000000 : 0;
  const char *states[] = {"", "being mapped", "loaded", "unmapped", "unloaded, still mapped"};
  put(text, record->state <= QS_MODULE_RESIDENT ? states[record->state] : "");
  put(text, " for ");
  put_number(text, age, 10);
  put(text, " ms");
}

// "drop 1.2+0x1139 (loaded for 12 ms, /opt/modules/drop.so)". 0 if no module is at the address.
static int put_place(struct text *text, uintptr_t address) {
  struct qs_module_record record;
  int index = qs_module_record_at(address);
  if (index < 0 || qs_module_record_copy(index, &record) != 0) return 0;
  put_module(text, &record);
  put(text, "+");
  put_number(text, address - record.start, 16);
  put(text, " (");
  put_state(text, &record);
  if (record.path[0] != 0) {
    put(text, ", ");
    put(text, record.path);
  }
  put(text, ")");
  return 1;
}

// MARK: - Frames

static void registers(const ucontext_t *context, uintptr_t *counter, uintptr_t *stack, uintptr_t *link) {
#if defined(__x86_64__)
  *counter = (uintptr_t)context->uc_mcontext.gregs[REG_RIP];
  *stack = (uintptr_t)context->uc_mcontext.gregs[REG_RSP];
  *link = 0;
#elif defined(__aarch64__)
  *counter = context->uc_mcontext.pc;
  *stack = context->uc_mcontext.sp;
  *link = context->uc_mcontext.regs[30];
#else
  *counter = *stack = *link = 0;
#endif
}

// Whether the address follows a call, as a return address does. Code that is unmapped cannot tell.
static int follows_call(uintptr_t address) {
#if defined(__x86_64__)
  unsigned char bytes[7];
  if (qs_image_read(address - 7, bytes, sizeof bytes) != sizeof bytes) return 1;
  if (bytes[2] == 0xe8) return 1;  // call rel32
  for (int index = 0; index < 6; index++)
    if (bytes[index] == 0xff && (bytes[index + 1] & 0x38) == 0x10) return 1;  // call r/m64
  return 0;
#else
  (void)address;
  return 1;
#endif
}

// Modules are compiled without frame pointers, so each word of the stack is looked at. After an
// overflow the stack pointer is in the guard below the stack, which cannot be read.
static void put_frames(struct text *text, uintptr_t stack) {
  int frames = 0;
  uintptr_t words[64];
  stack &= ~(uintptr_t)7;
  for (size_t offset = 0; offset < STACK && frames < FRAMES; offset += sizeof words) {
    ssize_t size = qs_image_read(stack + offset, words, sizeof words);
    for (ssize_t index = 0; index < size / 8 && frames < FRAMES; index++) {
      uintptr_t word = words[index];
#if defined(__aarch64__)
      word &= ((uintptr_t)1 << 48) - 1;  // the upper bits may hold a signature
#endif
      if (qs_module_record_at(word) < 0 || !follows_call(word)) continue;
      put(text, "  returns to ");
      put_place(text, word);
      end_line(text);
      frames += 1;
    }
  }
}

// MARK: - The report

static void put_mapping(struct text *text, pid_t thread) {
  struct qs_module_record record;
  for (int index = 0; index < (int)QS_MODULE_CAPACITY; index++) {
    if (qs_module_record_copy(index, &record) != 0) continue;
    if (record.state != QS_MODULE_MAPPING || record.thread != thread) continue;
    put(text, "  in the loader, which maps ");
    put_module(text, &record);
    put(text, " (");
    put(text, record.path);
    put(text, ")");
    end_line(text);
  }
}

static void report(int number, const siginfo_t *info, const ucontext_t *context, pid_t thread) {
  struct text text = {.length = 0};
  uintptr_t counter, stack, link;
  registers(context, &counter, &stack, &link);
  put(&text, "quiescence: ");
  for (int index = 0; index < SIGNALS; index++)
    if (signals[index].number == number) put(&text, signals[index].name);
  if (info->si_code > 0 && number != SIGABRT) {
    put(&text, " at address ");
    put_number(&text, (uintptr_t)info->si_addr, 16);
  }
  char name[16] = "";
  prctl(PR_GET_NAME, name);
  put(&text, ", thread ");
  put_number(&text, (uint64_t)thread, 10);
  put(&text, " (");
  put(&text, name);
  put(&text, ")");
  end_line(&text);
  put(&text, "  in ");
  if (!put_place(&text, counter)) {
    put(&text, "no module, at ");
    put_number(&text, counter, 16);
  }
  end_line(&text);
  put_mapping(&text, thread);
  if (link != 0 && qs_module_record_at(link) >= 0) {
    put(&text, "  returns to ");
    put_place(&text, link);
    end_line(&text);
  }
  put_frames(&text, stack);
  flush(&text);
}

// MARK: - The handler

static void handle(int number, siginfo_t *info, void *context) {
  int error = errno;
  pid_t thread = gettid();
  int first = 0;
  if (atomic_compare_exchange_strong(&reporter, &first, thread)) {
    report(number, info, context, thread);
    atomic_store(&reporter, -1);
  } else if (first != thread) {
    // Another thread crashed first: its report comes before this thread ends the process. Not for
    // longer than that can take, and no report of this crash: one block, and no second crash.
    struct timespec pause = {.tv_nsec = 1000000};
    for (int round = 0; round < 3000 && atomic_load(&reporter) > 0; round++) nanosleep(&pause, NULL);
  }
  // Also where the report itself has crashed: the process dies as it would have without a handler.
  // An instruction that has failed fails again. A signal that was sent is sent again, and so is
  // that of a breakpoint, which has gone past its instruction; it is blocked until this returns.
  for (int index = 0; index < SIGNALS; index++)
    if (signals[index].number == number) sigaction(number, &before[index], NULL);
  if (info->si_code <= 0 || number == SIGTRAP)
    syscall(SYS_rt_tgsigqueueinfo, getpid(), thread, number, info);
  errno = error;
}

int qs_crash_install(int to) {
  int was = atomic_exchange(&descriptor, to);
  if (was >= 0) return 0;
  struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  // A crash of the handler itself ends the process: by the same signal since that is blocked in it,
  // by another since that finds its own thread reporting.
  sigemptyset(&action.sa_mask);
  for (int index = 0; index < SIGNALS; index++)
    if (sigaction(signals[index].number, &action, &before[index]) != 0) return errno;
  return 0;
}
