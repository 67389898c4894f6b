/** Whether a text is the address of an API. */
export const isAddress = (text: string): boolean => /^https?:/.test(text) && URL.canParse(text);
