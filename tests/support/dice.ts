/** Chance that comes again with its seed. */

/**
 * The seed of this run: another one each time, or what `SEED=` says. A trial prints it in its line of
 * figures; `SEED=<seed> npx vitest run <file>` then asks the same again, though who comes first may differ.
 */
export const seed = Number(process.env["SEED"] ?? Date.now() % 2 ** 31);

/** Random numbers that come again with their seed (mulberry32). */
export class Dice {
  private state: number;

  constructor(start: number) {
    this.state = start >>> 0;
  }

  /** From 0 up to 1. */
  next(): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let t = this.state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  /** From 0 up to `most`, which it never is. */
  below(most: number): number {
    return Math.floor(this.next() * most);
  }

  chance(share: number): boolean {
    return this.next() < share;
  }

  any<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }

  /** A text that does not compress. */
  noise(length: number): string {
    const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    let text = "";
    for (let i = 0; i < length; i++) text += letters[this.below(letters.length)];
    return text;
  }
}

/**
 * Dice for the nth thing that is asked in this run. Askers that share dice would throw them in the order in
 * which they come, and that is no seed's to say.
 */
export function diceFor(nth: number): Dice {
  return new Dice(seed + Math.imul(nth, 1_000_003));
}
