/** How numbers that people type are read: as the console writes them, or said to be none. Nothing of it is left out. */

export interface Limits {
  /** How many may stand behind the point; left out: none. */
  decimals?: number;
  /** Of the places of the point between what is typed and what is kept: 2 where dollars are typed and cents kept. */
  shift?: number;
  /** Whether it may be below 0. */
  isSigned?: boolean;
  /** Of what is kept. */
  least?: number;
  most?: number;
}

export interface Reading {
  /** null: nothing was typed, or no number. */
  value: number | null;
  /** Why it is not read; null: it is, or nothing was typed. */
  error: string | null;
}

/** Marks of direction, which stand beside what is copied from a page. */
const unseen = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** @param language whose digits, point and groups they are */
export function numbersOf(language: string) {
  const grouped = new Intl.NumberFormat(language, { useGrouping: "always" });
  const exact = new Intl.NumberFormat(language, { maximumFractionDigits: 20 });
  const partOf = (type: string) =>
    grouped.formatToParts(1_234_567.8).find((part) => part.type === type)?.value;
  const point = partOf("decimal") ?? ".";
  const group = partOf("group") ?? ",";
  const digits = new Intl.NumberFormat(language, { useGrouping: false }).format(9_876_543_210);
  const alike = /\s/.test(group) ? /\s/g : /['’]/.test(group) ? /['’]/g : undefined;

  /** With the signs of a program; groups are G. */
  const plain = (text: string) => {
    const typed = text.replaceAll(unseen, "").trim();
    return Array.from(alike === undefined ? typed : typed.replaceAll(alike, group), (sign) => {
      if (sign === group) return "G";
      if (sign === point) return ".";
      if (sign === "−") return "-";
      const digit = digits.indexOf(sign);
      return digit < 0 ? (/[.G]/.test(sign) ? "?" : sign) : String(9 - digit);
    }).join("");
  };
  /** Whether groups stand where the language has them. */
  const isGrouped = (whole: string) =>
    !whole.includes("G") || plain(grouped.format(BigInt(whole.replaceAll("G", "")))) === whole;

  /** A number as it stands in a field before anybody types. */
  function write(value: number, { shift = 0, decimals = 0 }: Limits = {}, isFixed = false): string {
    const digitsOf = value.toLocaleString("en", { useGrouping: false, maximumFractionDigits: 20 });
    const moved = Number(`${digitsOf}e-${shift}`);
    if (!isFixed) return exact.format(moved);
    const fixed = { minimumFractionDigits: decimals, maximumFractionDigits: decimals };
    return new Intl.NumberFormat(language, fixed).format(moved);
  }

  return {
    write,

    read(text: string, limits: Limits = {}): Reading {
      const { decimals = 0, shift = 0, isSigned = false, least = 0, most = Number.MAX_SAFE_INTEGER } = limits;
      const no = (error: string): Reading => ({ value: null, error });
      if (text.trim() === "") return { value: null, error: null };
      const example = exact.format(decimals === 0 ? 1_234 : 1_234.5);
      const found = /^([+-]?)(0|[1-9][\dG]*)(?:\.(\d*))?$/.exec(plain(text));
      if (found === null || !isGrouped(found[2]!)) return no(`Not a number. Write it as ${example}`);
      const [, sign, whole, behind = ""] = found;
      if (behind.length > decimals) {
        return no(decimals === 0 ? "A whole number" : `At most ${decimals} decimals`);
      }
      const value = Number(`${sign}${whole!.replaceAll("G", "")}.${behind}e${shift}`);
      if (isSigned ? value === 0 : value < least) {
        return no(isSigned ? "Not 0" : least === 0 ? "Not below 0" : `At least ${exact.format(least)}`);
      }
      if (Math.abs(value) > most) return no(`At most ${write(most, limits)}`);
      return { value, error: null };
    },
  };
}
