/** One question to the API and what the real API answers to it. */
export interface Manner {
  /** What it is about, as the README's table says it: "filter beyond bigint". */
  subject: string;
  /** Method and path below /rest/v1, `GET /items?id=eq.1`. */
  request: string;
  headers?: Record<string, string>;
  body?: string;
  /** Asked with the secret key; otherwise with the publishable one. */
  isServer?: boolean;
  /** Claims of the caller's token; without, the caller has the publishable key alone. */
  claims?: Record<string, unknown>;
  /** The answer that is expected here. What is left out is not looked at. */
  answer: Answer;
  /** Where the real API answers otherwise: what it answers, and why not so here. Left out, it answers the same. */
  differs?: string;
}

export interface Answer {
  status: number;
  /** `code` of the body, of an error. */
  code?: string;
  /** Parts of the body, compared with `toMatchObject`; a string is the whole text. */
  body?: unknown;
  headers?: Record<string, string | RegExp>;
}
