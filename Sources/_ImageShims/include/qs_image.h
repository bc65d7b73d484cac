// What the Glibc module leaves out and the copies of images need: files in memory, and what the
// dynamic loader knows of an image.
#pragma once

#include <stddef.h>
#include <stdint.h>

/// Creates a file in memory that may be mapped for execution, and has no other name than its
/// descriptor. -1 and errno.
int qs_image_create_in_memory(const char *name);

/// Forbids every later change of a file in memory. -1 and errno.
int qs_image_seal(int descriptor);

/// Creates a file without a name in a folder, which cannot get one. -1 and errno.
int qs_image_create_in(const char *folder);

/// Opens a folder as a place to open files in, with or without the right to list it. -1 and errno.
int qs_image_open_folder(const char *path);

/// The address that was added to the addresses in the file of an image.
uintptr_t qs_image_address(void *handle);

/// Whether another image of the process needs (DT_NEEDED) an image by that name.
int qs_image_is_needed(const char *soname);
