package events

import "time"

// ParseTime reads a time in the form in which [AppendTime] writes it, of the
// years 1 to 9999, without the detours of package time. It takes no other
// form.
func ParseTime(s string) (t time.Time, ok bool) {
	if len(s) != len("2006-01-02T15:04:05.000Z") ||
		s[4] != '-' || s[7] != '-' || s[10] != 'T' || s[13] != ':' || s[16] != ':' || s[19] != '.' || s[23] != 'Z' {
		return time.Time{}, false
	}
	century, year, month, day := twoDigits(s, 0), twoDigits(s, 2), twoDigits(s, 5), twoDigits(s, 8)
	hour, minute, second := twoDigits(s, 11), twoDigits(s, 14), twoDigits(s, 17)
	ms, last := twoDigits(s, 20), int(s[22]-'0')
	year += 100 * century
	if year < 1 || year > 9999 || month < 1 || month > 12 || day < 1 || day > 31 ||
		hour > 23 || minute > 59 || second > 59 || ms > 99 || last > 9 {
		return time.Time{}, false
	}
	seconds := 86400*int64(daysBefore(year, month, day)) + int64(3600*hour+60*minute+second)
	t = time.Unix(seconds, int64(10*ms+last)*int64(time.Millisecond)).UTC()
	return t, day <= 28 || t.Day() == day // there is no 30th of February
}

// daysBefore returns how many days come between 1970 and a day. A year is
// counted from March on, so that the leap day is its last.
func daysBefore(year, month, day int) int {
	if month -= 3; month < 0 {
		month += 12
		year--
	}
	return 365*year + year/4 - year/100 + year/400 + (153*month+2)/5 + day - 719469
}

// twoDigits reads a number below 100. It returns one that is far above where
// there is something else.
func twoDigits(s string, at int) int {
	tens, units := s[at]-'0', s[at+1]-'0'
	if tens > 9 || units > 9 {
		return 1 << 20
	}
	return int(10*tens + units)
}
