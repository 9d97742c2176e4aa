/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The calendar of an MC146818 (Motorola data sheet, "Time, calendar, and alarm locations"): Gregorian, with the century
 * of the PC's CMOS RAM.
 */
#include "cmos_rtc_clock.h"

enum {
    DAY_S = 86400,
    HOUR_S = 3600,
    MINUTE_S = 60,
    PM = 0x80,
    ANY = 0xc0, /* alarm bytes with both bits match everything */
};

/* Division that rounds down, for times before 1970. */
static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

static int64_t floor_mod(int64_t a, int64_t b)
{
    return a - floor_div(a, b) * b;
}

/* Days from 1970-01-01 to the first of January of that year. */
static int64_t days_to_year(int64_t year)
{
    int64_t y = year - 1;
    int64_t leaps = floor_div(y, 4) - floor_div(y, 100) + floor_div(y, 400);

    return 365 * (year - 1970) + leaps - 477; /* 477 leap years before 1970 */
}

static int64_t year_of(int64_t days)
{
    int64_t year = 1970 + floor_div(days * 400, 146097); /* at most one off */

    while (days_to_year(year) > days)
        year--;
    while (days_to_year(year + 1) <= days)
        year++;
    return year;
}

static unsigned days_in_month(int64_t year, unsigned month)
{
    static const uint8_t days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool leap = days_to_year(year + 1) - days_to_year(year) == 366;

    return month == 2 && leap ? 29 : days[month - 1];
}

/* The 4th of January 1970 was a Sunday, which is day 1. */
static unsigned weekday_of(int64_t days)
{
    return (unsigned)floor_mod(days - 3, 7) + 1;
}

static void date_of(int64_t days, int64_t *ret_year, unsigned *ret_month, unsigned *ret_day)
{
    int64_t year = year_of(days);
    unsigned day = (unsigned)(days - days_to_year(year)), month = 1;

    while (day >= days_in_month(year, month))
        day -= days_in_month(year, month++);
    *ret_year = year;
    *ret_month = month;
    *ret_day = day + 1;
}

bool cmos_rtc_is_time(unsigned index)
{
    return index == CMOS_RTC_SECONDS || index == CMOS_RTC_MINUTES || index == CMOS_RTC_HOURS ||
           (index >= CMOS_RTC_WEEKDAY && index <= CMOS_RTC_YEAR) || index == CMOS_RTC_CENTURY;
}

static uint8_t to_byte(unsigned v, uint8_t mode)
{
    return (uint8_t)(mode & CMOS_RTC_BINARY ? v : (v / 10) << 4 | v % 10);
}

/* Bytes that are no BCD number still give something below 166. */
static unsigned from_byte(uint8_t v, uint8_t mode)
{
    return mode & CMOS_RTC_BINARY ? v : (v >> 4) * 10U + (v & 0xf);
}

static uint8_t hour_byte(unsigned hour, uint8_t mode)
{
    unsigned twelfth = hour % 12 ? hour % 12 : 12;

    if (mode & CMOS_RTC_24H)
        return to_byte(hour, mode);
    return to_byte(twelfth, mode) | (hour >= 12 ? PM : 0);
}

static unsigned hour_from(uint8_t v, uint8_t mode)
{
    if (mode & CMOS_RTC_24H)
        return from_byte(v, mode);
    return from_byte(v & (uint8_t)~PM, mode) % 12 + (v & PM ? 12 : 0);
}

static uint8_t date_byte(int64_t s, unsigned index, uint8_t mode)
{
    int64_t days = floor_div(s, DAY_S), year;
    unsigned month, day;

    date_of(days, &year, &month, &day);
    switch (index) {
    case CMOS_RTC_WEEKDAY: return to_byte(weekday_of(days), mode);
    case CMOS_RTC_DAY: return to_byte(day, mode);
    case CMOS_RTC_MONTH: return to_byte(month, mode);
    case CMOS_RTC_YEAR: return to_byte((unsigned)floor_mod(year, 100), mode);
    default: return to_byte((unsigned)floor_mod(floor_div(year, 100), 100), mode);
    }
}

uint8_t cmos_rtc_encode(int64_t s, unsigned index, uint8_t mode)
{
    unsigned second = (unsigned)floor_mod(s, DAY_S);

    switch (index) {
    case CMOS_RTC_SECONDS: return to_byte(second % 60, mode);
    case CMOS_RTC_MINUTES: return to_byte(second / MINUTE_S % 60, mode);
    case CMOS_RTC_HOURS: return hour_byte(second / HOUR_S, mode);
    default: return date_byte(s, index, mode);
    }
}

static unsigned clamp(unsigned v, unsigned low, unsigned high)
{
    return v < low ? low : v > high ? high : v;
}

int64_t cmos_rtc_decode(const uint8_t registers[CMOS_RTC_BYTES], uint8_t mode)
{
    unsigned century = clamp(from_byte(registers[CMOS_RTC_CENTURY], mode), 0, 99);
    unsigned year = clamp(from_byte(registers[CMOS_RTC_YEAR], mode), 0, 99) + century * 100;
    unsigned month = clamp(from_byte(registers[CMOS_RTC_MONTH], mode), 1, 12);
    unsigned day = clamp(from_byte(registers[CMOS_RTC_DAY], mode), 1, days_in_month(year, month));
    unsigned hour = clamp(hour_from(registers[CMOS_RTC_HOURS], mode), 0, 23);
    unsigned minute = clamp(from_byte(registers[CMOS_RTC_MINUTES], mode), 0, 59);
    unsigned second = clamp(from_byte(registers[CMOS_RTC_SECONDS], mode), 0, 59);
    int64_t days = days_to_year(year) + day - 1;

    for (unsigned m = 1; m < month; m++)
        days += days_in_month(year, m);
    return days * DAY_S + hour * HOUR_S + minute * MINUTE_S + second;
}

static bool matches(uint8_t alarm, uint8_t now)
{
    return alarm >= ANY || alarm == now;
}

/* An alarm at second 99 never comes: found out here, or the search below would look at a whole day. */
static bool second_exists(uint8_t alarm, uint8_t mode)
{
    for (unsigned s = 0; s < 60; s++)
        if (matches(alarm, to_byte(s, mode)))
            return true;
    return false;
}

/* Whole hours and minutes that do not match are skipped: some hundred steps at most, and mostly far fewer. */
bool cmos_rtc_next_alarm(const uint8_t registers[CMOS_RTC_BYTES], uint8_t mode, int64_t after,
                         int64_t *ret_s)
{
    int64_t t = after + 1;

    if (!second_exists(registers[CMOS_RTC_SECONDS_ALARM], mode))
        return false;
    while (t <= after + DAY_S) {
        if (!matches(registers[CMOS_RTC_HOURS_ALARM], cmos_rtc_encode(t, CMOS_RTC_HOURS, mode))) {
            t += HOUR_S - floor_mod(t, HOUR_S);
        } else if (!matches(registers[CMOS_RTC_MINUTES_ALARM],
                            cmos_rtc_encode(t, CMOS_RTC_MINUTES, mode))) {
            t += MINUTE_S - floor_mod(t, MINUTE_S);
        } else if (!matches(registers[CMOS_RTC_SECONDS_ALARM],
                            cmos_rtc_encode(t, CMOS_RTC_SECONDS, mode))) {
            t++;
        } else {
            *ret_s = t;
            return true;
        }
    }
    return false;
}
