#define _GNU_SOURCE
#include "qs_image.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <string.h>
#include <sys/mman.h>

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

int qs_image_open_folder(const char *path) { return open(path, O_PATH | O_DIRECTORY | O_CLOEXEC); }

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
