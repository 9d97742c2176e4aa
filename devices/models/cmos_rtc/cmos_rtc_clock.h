/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Time as the registers of an MC146818 show it: calendar and alarm, numbers in and out. Pure, thread safe. */
#ifndef VMM_DEVICES_CMOS_RTC_CLOCK_H
#define VMM_DEVICES_CMOS_RTC_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

/* Index of each register. The century is the PC's addition (IBM PC AT Technical Reference, CMOS RAM map). */
enum {
    CMOS_RTC_SECONDS = 0x00,
    CMOS_RTC_SECONDS_ALARM = 0x01,
    CMOS_RTC_MINUTES = 0x02,
    CMOS_RTC_MINUTES_ALARM = 0x03,
    CMOS_RTC_HOURS = 0x04,
    CMOS_RTC_HOURS_ALARM = 0x05,
    CMOS_RTC_WEEKDAY = 0x06,
    CMOS_RTC_DAY = 0x07,
    CMOS_RTC_MONTH = 0x08,
    CMOS_RTC_YEAR = 0x09,
    CMOS_RTC_CENTURY = 0x32,
    CMOS_RTC_BYTES = 128,
};

/* The bits of register B that say how numbers look. */
enum { CMOS_RTC_BINARY = 1 << 2, CMOS_RTC_24H = 1 << 1 };

/* The register holds a part of the time, not of the alarm. */
bool cmos_rtc_is_time(unsigned index);

/* What that register shows at the second s since 1970 UTC. */
uint8_t cmos_rtc_encode(int64_t s, unsigned index, uint8_t mode);

/* The second that the registers show. What no calendar has becomes the nearest it has. */
int64_t cmos_rtc_decode(const uint8_t registers[CMOS_RTC_BYTES], uint8_t mode);

/* The first second behind after that the alarm registers match; false: none ever. */
bool cmos_rtc_next_alarm(const uint8_t registers[CMOS_RTC_BYTES], uint8_t mode, int64_t after,
                         int64_t *ret_s);

#endif
