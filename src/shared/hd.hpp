// Marks a function that host and device share.
#pragma once

#if defined(__CUDACC__)
#define QJL_HD __host__ __device__
#else
#define QJL_HD
#endif
