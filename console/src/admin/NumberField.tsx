import { TextInput, type TextInputProps } from "@mantine/core";
import type { Limits } from "./numbers.ts";
import { numbers } from "./typed.ts";

interface NumberFieldProps extends Omit<TextInputProps, "value" | "onChange" | "error"> {
  /** As it is typed. */
  value: string;
  change: (typed: string) => void;
  limits: Limits;
  /** Shown with all the decimals that there may be. */
  isFixed?: boolean;
}

/** Asks for a number. What is typed stays as it is typed, and what is no number is said to be none. */
export function NumberField({ value, change, limits, isFixed = false, ...input }: NumberFieldProps) {
  const read = numbers.read(value, limits);
  return (
    <TextInput
      {...input}
      // keyboards of phones for numbers have no minus
      inputMode={limits.isSigned ? "text" : "decimal"}
      autoComplete="off"
      value={value}
      error={read.error}
      onChange={({ currentTarget }) => change(currentTarget.value)}
      onBlur={() => {
        if (read.value !== null) change(numbers.write(read.value, limits, isFixed));
      }}
    />
  );
}
