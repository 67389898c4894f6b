import { json } from "../gateway/http.ts";

/** An error in the auth server's form; `code` repeats the status, `error_code` is the slug that clients read. */
export function authError(status: number, errorCode: string, msg: string): Response {
  return json({ code: status, error_code: errorCode, msg }, status, { "x-sb-error-code": errorCode });
}
