# What a program outside says to pkg-config. Only libtbquic-ev knows of libev.
pkgconfig_DATA += pkgconfig/libtbquic.pc
if ENABLE_EV
pkgconfig_DATA += pkgconfig/libtbquic-ev.pc
endif
