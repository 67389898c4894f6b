/** A code that cannot be guessed, made of the key of a dialog: a repeat after a lost answer asks for the same code. */

/** Without I, L, O and U, which are read as other letters. */
const letters = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/** 20 letters of 5 bits, in groups of four. A key of random bits is a code of random bits. */
export async function codeOf(key: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(`a code of ${key}`));
  const chosen = Array.from(new Uint8Array(digest, 0, 20), (byte) => letters[byte % 32]);
  return chosen.join("").replace(/.{4}(?=.)/g, "$&-");
}
