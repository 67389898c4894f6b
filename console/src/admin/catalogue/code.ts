/** A code that nobody guesses. */

/** Without I, L, O and U, which are read as other letters. */
const letters = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/** 20 letters of 5 random bits, in groups of four. */
export function randomCode(): string {
  const chosen = Array.from(crypto.getRandomValues(new Uint8Array(20)), (byte) => letters[byte % 32]);
  return chosen.join("").replace(/.{4}(?=.)/g, "$&-");
}
