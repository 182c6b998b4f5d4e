/* tbquic/export.h - marks the symbols that the shared library shows; all others are hidden. */
#ifndef TBQUIC_EXPORT_H
#define TBQUIC_EXPORT_H

#if defined(__GNUC__) || defined(__clang__)
#define TBQ_API __attribute__((visibility("default")))
#else
#define TBQ_API
#endif

#endif
