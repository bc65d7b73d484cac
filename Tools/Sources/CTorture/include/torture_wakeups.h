// A fault of the library, for the torture to find.
#pragma once

/// From here on readers skip the wakeups that sleeping grace periods need. For the rest of the
/// process.
void torture_lose_wakeups(void);
