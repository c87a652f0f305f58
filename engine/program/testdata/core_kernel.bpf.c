// Stands for a kernel: the types that core.bpf.c is relocated against.
struct sample {
  long before;
  int a;
  union {
    struct {
      char pad[12];
      int moved;
    };
    long other;
  };
  unsigned short narrow;
  int : 7;
  int flags : 9;
  int array[8];
  struct {
    struct {
      int deep;
    };
  };
  int renamed;
};
struct same {
  void *b;
  int a;
  int more;
};
struct different {
  int a;
  int b;
};
enum color { RED = 1, BLUE = 2, GREEN = 77 };

struct sample s;
struct same same;
struct different different;
enum color color;

int kernel_variable = 1;
__attribute__((noinline)) int kernel_function(int x) { return x + kernel_variable; }
