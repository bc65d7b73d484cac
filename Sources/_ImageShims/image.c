#define _GNU_SOURCE
#include "qs_image.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

// Linux 6.3. Older kernels refuse a flag that they do not know.
#ifndef MFD_EXEC
#define MFD_EXEC 0x10U
#endif

int qs_image_create_in_memory(const char *name) {
  unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  int descriptor = memfd_create(name, flags | MFD_EXEC);
  if (descriptor < 0 && errno == EINVAL) descriptor = memfd_create(name, flags);
  return descriptor;
}

int qs_image_seal(int descriptor) {
  return fcntl(descriptor, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
}

int qs_image_create_in(const char *folder) {
  // O_EXCL: linkat(2) cannot give it a name.
  return open(folder, O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
}

int qs_image_open_folder(int parent, const char *name) {
  return openat(parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

uintptr_t qs_image_address(void *handle) {
  struct link_map *map = NULL;
  return dlinfo(handle, RTLD_DI_LINKMAP, &map) == 0 && map != NULL ? map->l_addr : 0;
}

// The loader of some processors leaves the addresses in a dynamic section as they are in the file,
// that of others adds the image's address.
static const char *text(const struct dl_phdr_info *image, ElfW(Addr) table) {
  return (const char *)(table < image->dlpi_addr ? image->dlpi_addr + table : table);
}

static int needs(struct dl_phdr_info *image, size_t size, void *soname) {
  (void)size;
  for (int i = 0; i < image->dlpi_phnum; i++) {
    if (image->dlpi_phdr[i].p_type != PT_DYNAMIC) continue;
    const ElfW(Dyn) *first = (const ElfW(Dyn) *)(image->dlpi_addr + image->dlpi_phdr[i].p_vaddr);
    const char *strings = NULL;
    for (const ElfW(Dyn) *entry = first; entry->d_tag != DT_NULL; entry++)
      if (entry->d_tag == DT_STRTAB) strings = text(image, entry->d_un.d_ptr);
    for (const ElfW(Dyn) *entry = first; strings != NULL && entry->d_tag != DT_NULL; entry++)
      if (entry->d_tag == DT_NEEDED && strcmp(strings + entry->d_un.d_val, soname) == 0) return 1;
  }
  return 0;
}

int qs_image_is_needed(const char *soname) { return dl_iterate_phdr(needs, (void *)soname); }

struct code {
  uintptr_t address, start, end;
};

static int code_of(struct dl_phdr_info *image, size_t size, void *argument) {
  (void)size;
  struct code *code = argument;
  if (image->dlpi_addr != code->address) return 0;
  for (int i = 0; i < image->dlpi_phnum; i++) {
    const ElfW(Phdr) *part = &image->dlpi_phdr[i];
    if (part->p_type != PT_LOAD || (part->p_flags & PF_X) == 0) continue;
    uintptr_t start = image->dlpi_addr + part->p_vaddr, end = start + part->p_memsz;
    if (code->end == 0 || start < code->start) code->start = start;
    if (end > code->end) code->end = end;
  }
  return 1;
}

int qs_image_code(uintptr_t address, uintptr_t *start, uintptr_t *end) {
  struct code code = {.address = address};
  if (dl_iterate_phdr(code_of, &code) == 0) return -1;
  *start = code.start;
  *end = code.end;
  return 0;
}

ssize_t qs_image_read(uintptr_t address, void *buffer, size_t size) {
  struct iovec to = {.iov_base = buffer, .iov_len = size};
  struct iovec from = {.iov_base = (void *)address, .iov_len = size};
  return process_vm_readv(getpid(), &to, 1, &from, 1, 0);
}

pid_t qs_image_own_thread(void) { return gettid(); }

uintptr_t qs_image_thread_record(pid_t thread) {
  void *head = NULL;
  size_t size;
  return syscall(SYS_get_robust_list, thread, &head, &size) == 0 ? (uintptr_t)head : 0;
}

// glibc keeps the table in view of thread debuggers (nptl_db): PTHREAD_KEYS_MAX pairs of a sequence
// number and a destructor.
uintptr_t qs_image_keys(size_t *size) {
  *size = 1024 * 2 * sizeof(uintptr_t);
  return (uintptr_t)dlvsym(RTLD_DEFAULT, "__pthread_keys", "GLIBC_PRIVATE");
}
