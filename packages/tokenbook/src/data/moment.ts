/** Moments as texts. */

/** A moment, and how Postgres is told of it so that no digit is lost, whatever its DateStyle and TimeZone are. */
export interface Moment {
  at: Date;
  text: string;
}

const iso =
  /^(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(\.\d{1,9})?)?\s*(Z|[+-]\d\d(?::?\d\d)?)?)?$/i;

/**
 * Reads ISO 8601: `2027-01-01`, `2027-01-01T12:00Z`, `2027-01-01 12:00:00.123456+05:30`. Without an offset it is UTC. Undefined
 * for anything else: 01/02/2027 is two days, and nobody can say which.
 */
export function readMoment(text: string): Moment | undefined {
  const match = iso.exec(text.trim());
  if (!match) return undefined;
  const [, year, month, day, hour = "00", minute = "00", second = "00", fraction = "", said = "Z"] = match;
  const date = `${year}-${month}-${day}`;
  const offset =
    said.toUpperCase() === "Z" ? "Z" : `${said.slice(0, 3)}:${said.slice(3).replace(":", "") || "00"}`;
  // the days that there are not, as 30 February, would be some in March
  const there = new Date(`${date}T00:00:00Z`);
  if (Number.isNaN(there.getTime()) || there.toISOString().slice(0, 10) !== date || year === "0000")
    return undefined;
  const at = new Date(`${date}T${hour}:${minute}:${second}${fraction.slice(0, 4)}${offset}`);
  return Number.isNaN(at.getTime())
    ? undefined
    : { at, text: `${date}T${hour}:${minute}:${second}${fraction}${offset}` };
}
