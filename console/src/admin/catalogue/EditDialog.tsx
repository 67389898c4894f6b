import { Text, TextInput } from "@mantine/core";
import { useState } from "react";
import { ActDialog } from "../ActDialog.tsx";
import { NewName, useNewName } from "../NewName.tsx";
import { useChanged } from "../queries.ts";
import { Reason } from "../Reason.tsx";
import { ChangesTable } from "./ChangesTable.tsx";
import { changesOf, draftOf, isComplete, saidChanges } from "../draft.ts";
import { FieldInputs } from "../FieldInputs.tsx";
import type { Field } from "../draft.ts";

export interface Saved {
  changed: string[];
}

interface EditDialogProps {
  /** What it is: a plan. */
  thing: string;
  /** How it is called in code; null: it is made. */
  name: string | null;
  nameHint: string;
  fields: readonly Field[];
  /** As it is; of a new one, what it has where nothing is said. */
  row: Readonly<Record<string, unknown>>;
  /** From when on a change counts, and for whom. */
  note: string;
  /** Whether a day can be said from which on it holds. */
  hasFrom?: boolean;
  /** Asks the database whether there is one of this name. */
  isThere: (name: string) => Promise<boolean>;
  save: (
    name: string,
    changes: Record<string, unknown>,
    options: { reason: string; validFrom?: string },
  ) => Promise<Saved>;
  close: () => void;
}

/** Makes something of the catalogue, or changes what is said of it. */
export function EditDialog({
  thing,
  name,
  nameHint,
  fields,
  row,
  note,
  hasFrom = false,
  isThere,
  save,
  close,
}: EditDialogProps) {
  const changed = useChanged();
  // as it was when the dialog was opened: what changes underneath meanwhile is not undone
  const [before] = useState(row);
  const [draft, change] = useState(() => draftOf(fields, before));
  const naming = useNewName(thing, isThere);
  const [day, setDay] = useState("");
  const [reason, setReason] = useState("");
  const isNew = name === null;
  const called = name ?? naming.name.trim();
  const changes = changesOf(fields, draft, before);
  const isReady =
    called !== "" &&
    reason.trim() !== "" &&
    isComplete(fields, draft) &&
    (isNew || Object.keys(changes).length > 0);
  return (
    <ActDialog
      title={isNew ? `New ${thing}` : `Change ${thing} ${name}`}
      verb={isNew ? "Make" : "Change"}
      size="lg"
      isReady={isReady}
      close={close}
      {...(isNew && { check: naming.check })}
      act={async (_, isAgain) => {
        const done = await save(called, changes, {
          reason: reason.trim(),
          ...(day === "" ? {} : { validFrom: `${day}T00:00:00Z` }),
        });
        changed();
        return (
          <Text size="sm" className="words">
            {isNew
              ? `The ${thing} ${called} is there. ${note}`
              : done.changed.length === 0 && !isAgain
                ? "It was so already; nothing has changed."
                : `It is changed. ${note}`}
          </Text>
        );
      }}
      preview={
        !isNew &&
        Object.keys(changes).length > 0 && <ChangesTable changes={saidChanges(fields, draft, before)} />
      }
    >
      {isNew && <NewName naming={naming} label="Name in code" description={nameHint} />}
      <FieldInputs fields={fields} draft={draft} change={change} isFirst={!isNew} />
      {hasFrom && (
        <TextInput
          label="Holds from"
          description="Midnight UTC of a day to come. Empty: from now on."
          type="date"
          value={day}
          onChange={({ currentTarget }) => setDay(currentTarget.value)}
        />
      )}
      <Reason value={reason} change={setReason} />
      <Text size="xs" c="dimmed">
        {note}
      </Text>
    </ActDialog>
  );
}
