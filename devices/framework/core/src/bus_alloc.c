/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Memory of bus maps: alone in its file, see bus_private.h. */
#include <stdlib.h>

#include "bus_private.h"

void *vdev_bus_map_alloc(size_t bytes)
{
    return malloc(bytes);
}
