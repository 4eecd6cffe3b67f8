#define SEPARATOR ", "
