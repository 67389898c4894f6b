/** A key for one intent. `crypto.randomUUID` is not there where a page comes over plain http; random values are. */
export const newKey = (): string =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join(
    "",
  );
