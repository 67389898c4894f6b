/** The files of `_shared` that `withTokenHold` is made of: it imports nothing else. */
export const holdFiles = [
  "token-hold.ts",
  "hold-books.ts",
  "until-heard.ts",
  "token-error.ts",
  "errors.ts",
  "names.ts",
  "known-options.ts",
  "lists.ts",
] as const;
