// A counter that keeps its number in a global variable: the platform makes it durable.
#include "gen/counter.h"
#include <inttypes.h>
#include <stdio.h>

static uint64_t total = 0;

uint64_t exports_demo_counter_api_add(uint64_t n) {
  total += n;
  printf("added %" PRIu64 ", now %" PRIu64 "\n", n, total);
  // Standard output is not a terminal, so nothing would come out before the buffer is full.
  fflush(stdout);
  return total;
}

uint64_t exports_demo_counter_api_get(void) { return total; }

void exports_demo_counter_api_greet(counter_string_t *name, counter_string_t *ret) {
  char text[256];
  snprintf(text, sizeof text, "Hello %.*s, the count is %" PRIu64, (int)name->len, (const char *)name->ptr, total);
  counter_string_dup(ret, text);
  counter_string_free(name);
}
