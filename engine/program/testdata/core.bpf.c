// CO-RE relocations of every kind, against the types of core_kernel.bpf.c.
#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct sample {
  int a;
  int moved;
  unsigned char narrow;
  int missing;
  int flags : 5;
  int array[4];
  struct {
    int deep;
  };
};
struct sample___renamed {
  int renamed;
};
struct absent {
  int x;
};
struct same {
  int a;
  void *b;
};
struct different {
  int a;
  long b;
};
#pragma clang attribute pop

enum color { RED = 1, GREEN = 2, NO_COLOR = 9 };

struct result {
  unsigned long v[32];
};
struct result out;

SEC("tc")
int fields(struct __sk_buff *skb) {
  struct sample *s = (void *)(long)skb->len;
  struct sample___renamed *r = (void *)s;
  out.v[0] = bpf_core_field_offset(s->a);
  out.v[1] = bpf_core_field_offset(s->moved);
  out.v[2] = bpf_core_field_size(s->narrow);
  out.v[3] = bpf_core_field_exists(s->missing);
  out.v[4] = bpf_core_field_exists(s->moved);
  out.v[5] = bpf_core_field_offset(s->array[2]);
  out.v[6] = bpf_core_field_offset(s->deep);
  out.v[7] = bpf_core_field_offset(r->renamed);
  out.v[8] = __CORE_RELO(s, flags, BYTE_OFFSET);
  out.v[9] = __CORE_RELO(s, flags, BYTE_SIZE);
  out.v[10] = __CORE_RELO(s, flags, LSHIFT_U64);
  out.v[11] = __CORE_RELO(s, flags, RSHIFT_U64);
  out.v[12] = __CORE_RELO(s, flags, SIGNED);
  return 0;
}

SEC("tc")
int types(struct __sk_buff *skb) {
  out.v[0] = bpf_core_type_exists(struct sample);
  out.v[1] = bpf_core_type_exists(struct absent);
  out.v[2] = bpf_core_type_size(struct sample);
  out.v[3] = bpf_core_type_matches(struct same);
  out.v[4] = bpf_core_type_matches(struct different);
  out.v[5] = bpf_core_enum_value_exists(enum color, GREEN);
  out.v[6] = bpf_core_enum_value_exists(enum color, NO_COLOR);
  out.v[7] = bpf_core_enum_value(enum color, GREEN);
  out.v[8] = bpf_core_type_id_local(struct sample);
  out.v[9] = bpf_core_type_id_kernel(struct sample);
  return 0;
}

SEC("raw_tracepoint/whatever")
int loads(unsigned long long *ctx) {
  struct sample *s = (void *)ctx[0];
  return s->moved + s->narrow;
}

SEC("tc")
int poisoned(struct __sk_buff *skb) {
  struct sample *s = (void *)(long)skb->len;
  if (bpf_core_field_exists(s->missing)) return bpf_core_field_offset(s->missing);
  return 7;
}

char LICENSE[] SEC("license") = "GPL";
