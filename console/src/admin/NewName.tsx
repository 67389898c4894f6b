import { TextInput } from "@mantine/core";
import { useState } from "react";

interface Naming {
  name: string;
  call: (name: string) => void;
  /** Said by the field. */
  error: string | null;
  /** Looks again whether there is one, and says it. @returns whether there is none */
  check: () => Promise<boolean>;
}

/**
 * The name of what is made: making something must not change what another admin has made under that name.
 *
 * @param isThere asks the database
 * @param of what else it goes by beside its name
 */
export function useNewName(thing: string, isThere: (name: string) => Promise<boolean>, of = ""): Naming {
  const [name, call] = useState("");
  const [taken, take] = useState<string | null>(null);
  const called = name.trim();
  const whole = `${of} ${called}`;
  return {
    name,
    call,
    error: taken === whole ? `There is ${article(thing)} ${thing} ${called} already: change that one` : null,
    check: async () => {
      const isTaken = await isThere(called);
      take(isTaken ? whole : null);
      return !isTaken;
    },
  };
}

const article = (thing: string) => (/^[aeio]/.test(thing) ? "an" : "a");

interface NewNameProps {
  naming: Naming;
  label: string;
  description: string;
}

export function NewName({ naming: { name, call, error }, label, description }: NewNameProps) {
  return (
    <TextInput
      label={label}
      description={description}
      data-autofocus
      autoComplete="off"
      error={error}
      value={name}
      onChange={({ currentTarget }) => call(currentTarget.value)}
    />
  );
}
