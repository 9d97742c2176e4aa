/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <criterion/criterion.h>

#include <time.h>

#include "cmos_rtc_clock.h"

enum { BINARY_24H = CMOS_RTC_BINARY | CMOS_RTC_24H };

static const unsigned parts[] = { CMOS_RTC_SECONDS, CMOS_RTC_MINUTES, CMOS_RTC_HOURS,
                                  CMOS_RTC_WEEKDAY, CMOS_RTC_DAY,     CMOS_RTC_MONTH,
                                  CMOS_RTC_YEAR,    CMOS_RTC_CENTURY };

static void show(int64_t s, uint8_t mode, uint8_t registers[CMOS_RTC_BYTES])
{
    for (unsigned i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        registers[parts[i]] = cmos_rtc_encode(s, parts[i], mode);
}

/* Against the C library's calendar: each day from year 0 to 9999 would be slow, a step of 9 days and some seconds meets
 * each month and leap rule. */
Test(cmos_rtc_clock, calendar_is_the_c_librarys)
{
    for (int64_t s = -62167219200; s < 253402300800; s += 9 * 86400 + 3671) {
        uint8_t r[CMOS_RTC_BYTES] = { 0 };
        time_t t = (time_t)s;
        struct tm tm;

        gmtime_r(&t, &tm);
        show(s, BINARY_24H, r);
        if (r[CMOS_RTC_SECONDS] != tm.tm_sec || r[CMOS_RTC_MINUTES] != tm.tm_min ||
            r[CMOS_RTC_HOURS] != tm.tm_hour || r[CMOS_RTC_WEEKDAY] != tm.tm_wday + 1 ||
            r[CMOS_RTC_DAY] != tm.tm_mday || r[CMOS_RTC_MONTH] != tm.tm_mon + 1 ||
            r[CMOS_RTC_CENTURY] * 100 + r[CMOS_RTC_YEAR] != tm.tm_year + 1900)
            cr_assert_fail("second %lld differs", (long long)s);
    }
}

Test(cmos_rtc_clock, each_mode_reads_back_what_it_shows)
{
    for (uint8_t mode = 0; mode <= BINARY_24H; mode += 2)
        for (int64_t s = -62167219200; s < 253402300800; s += 700 * 86400 + 3671) {
            uint8_t r[CMOS_RTC_BYTES] = { 0 };

            show(s, mode, r);
            cr_assert_eq(cmos_rtc_decode(r, mode), s, "mode %u, second %lld", mode, (long long)s);
        }
}

Test(cmos_rtc_clock, bcd_has_two_digits)
{
    cr_assert_eq(cmos_rtc_encode(59, CMOS_RTC_SECONDS, 0), 0x59);
    cr_assert_eq(cmos_rtc_encode(0, CMOS_RTC_YEAR, 0), 0x70);
    cr_assert_eq(cmos_rtc_encode(0, CMOS_RTC_CENTURY, 0), 0x19);
}

Test(cmos_rtc_clock, twelve_hour_mode_marks_the_afternoon)
{
    static const uint8_t bcd[24] = { 0x12, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07,
                                     0x08, 0x09, 0x10, 0x11, 0x92, 0x81, 0x82, 0x83,
                                     0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x90, 0x91 };

    for (unsigned h = 0; h < 24; h++)
        cr_assert_eq(cmos_rtc_encode(h * 3600, CMOS_RTC_HOURS, 0), bcd[h], "hour %u", h);
    cr_assert_eq(cmos_rtc_encode(23 * 3600, CMOS_RTC_HOURS, CMOS_RTC_BINARY), 0x8b);
}

Test(cmos_rtc_clock, nonsense_becomes_the_nearest_time)
{
    uint8_t r[CMOS_RTC_BYTES];

    memset(r, 0xff, sizeof(r));
    cr_assert_eq(cmos_rtc_decode(r, BINARY_24H), 253402300799, "the end of 9999");
    cr_assert_eq(cmos_rtc_decode(r, CMOS_RTC_24H), 253402300799);
    memset(r, 0, sizeof(r));
    cr_assert_eq(cmos_rtc_decode(r, CMOS_RTC_24H), -62167219200, "the start of year 0");
}

Test(cmos_rtc_clock, february_ends_where_the_year_says)
{
    uint8_t r[CMOS_RTC_BYTES] = { 0 };

    show(951782400, BINARY_24H, r); /* 2000-02-29 */
    cr_assert_eq(r[CMOS_RTC_DAY], 29);
    r[CMOS_RTC_DAY] = 31;
    cr_assert_eq(cmos_rtc_decode(r, BINARY_24H), 951782400);
    r[CMOS_RTC_YEAR] = 1;
    cr_assert_eq(cmos_rtc_decode(r, BINARY_24H), 983318400, "2001-02-28");
}

/* An alarm at h:m:s (binary, 24 h), looked for from second 0 of the epoch: the time it comes, or -1. */
static int64_t alarm_after(int64_t after, uint8_t h, uint8_t m, uint8_t s)
{
    uint8_t r[CMOS_RTC_BYTES] = {
        [CMOS_RTC_HOURS_ALARM] = h, [CMOS_RTC_MINUTES_ALARM] = m, [CMOS_RTC_SECONDS_ALARM] = s
    };
    int64_t at = -2;

    return cmos_rtc_next_alarm(r, BINARY_24H, after, &at) ? at : -1;
}

Test(cmos_rtc_clock, alarm_comes_at_its_time)
{
    cr_assert_eq(alarm_after(0, 1, 2, 3), 3723);
    cr_assert_eq(alarm_after(3722, 1, 2, 3), 3723);
    cr_assert_eq(alarm_after(3723, 1, 2, 3), 3723 + 86400, "once a day");
    cr_assert_eq(alarm_after(-86400, 1, 2, 3), 3723 - 86400, "also before 1970");
}

Test(cmos_rtc_clock, wildcards_match_everything)
{
    cr_assert_eq(alarm_after(100, 0xff, 0xff, 0xff), 101, "each second");
    cr_assert_eq(alarm_after(100, 0xc0, 0xc0, 5), 125, "each minute");
    cr_assert_eq(alarm_after(100, 0xc0, 2, 5), 125, "each hour");
    cr_assert_eq(alarm_after(125, 0xc0, 2, 5), 3725);
    cr_assert_eq(alarm_after(100, 3, 0xff, 0xff), 3 * 3600);
    cr_assert_eq(alarm_after(100, 0xff, 0, 0xff), 3600);
}

Test(cmos_rtc_clock, alarm_that_cannot_match_never_comes)
{
    cr_assert_eq(alarm_after(0, 24, 0, 0), -1);
    cr_assert_eq(alarm_after(0, 0, 60, 0), -1);
    cr_assert_eq(alarm_after(0, 0xff, 0xff, 60), -1);
    cr_assert_eq(alarm_after(0, 0xff, 0xff, 0xbf), -1, "0xc0 is the first wildcard");
}
