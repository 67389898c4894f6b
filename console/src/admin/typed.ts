/** Numbers as this browser's language writes them. */
import { language } from "../format.ts";
import { numbersOf } from "./numbers.ts";

export const numbers = numbersOf(language);
