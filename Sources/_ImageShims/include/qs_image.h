// What the Glibc module leaves out and the copies of images need: files in memory, and what the
// dynamic loader knows of an image.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/// Creates a file in memory that may be mapped for execution, and has no other name than its
/// descriptor. -1 and errno.
int qs_image_create_in_memory(const char *name);

/// Forbids every later change of a file in memory. -1 and errno.
int qs_image_seal(int descriptor);

/// Creates a file without a name in a folder, which cannot get one. -1 and errno.
int qs_image_create_in(const char *folder);

/// Opens a folder of a folder as a place to open files in, with or without the right to list it.
/// Follows no symbolic link. -1 and errno.
int qs_image_open_folder(int parent, const char *name);

/// The address that was added to the addresses in the file of an image.
uintptr_t qs_image_address(void *handle);

/// Whether another image of the process needs (DT_NEEDED) an image by that name.
int qs_image_is_needed(const char *soname);

/// The bounds of an image's code, by the address that was added to those in its file. 0, or -1 when
/// there is no such image.
int qs_image_code(uintptr_t address, uintptr_t *start, uintptr_t *end);

/// Copies memory of this process that may not be mapped. Returns how many bytes could be read, or
/// -1 and errno.
ssize_t qs_image_read(uintptr_t address, void *buffer, size_t size);

/// The kernel's number of the calling thread.
pid_t qs_image_own_thread(void);

/// Where the C library's record of a thread of this process holds the list of robust mutexes; 0
/// when the thread has no record, or has ended.
uintptr_t qs_image_thread_record(pid_t thread);

/// The table of destructors of pthread keys: its address and size; 0 when the C library does not
/// show it.
uintptr_t qs_image_keys(size_t *size);
