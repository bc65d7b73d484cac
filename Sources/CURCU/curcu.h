// liburcu's own headers, one umbrella.
#pragma once

#include <urcu/urcu-memb.h>
#include <urcu/urcu-qsbr.h>
