/** Numbers as this browser's language writes them. */
import { numbersOf } from "./numbers.ts";

export const numbers = numbersOf(navigator.language);
