/** Whether a key is one that no browser may have: a secret key of today, or that of service_role, which is a JWT. */
export function isSecretKey(key: string): boolean {
  if (key.startsWith("sb_secret_")) return true;
  const payload = key.split(".")[1] ?? "";
  try {
    return atob(payload.replaceAll("-", "+").replaceAll("_", "/")).includes('"service_role"');
  } catch {
    return false; // no JWT
  }
}
