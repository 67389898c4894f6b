import { Select, SimpleGrid, Switch, TextInput, UnstyledButton } from "@mantine/core";
import { IconChevronRight } from "@tabler/icons-react";
import { useState } from "react";
import { type Draft, type Field, limitsIn, valueOf } from "./draft.ts";
import classes from "./FieldInputs.module.css";
import { NumberField } from "./NumberField.tsx";

interface FieldInputsProps {
  fields: readonly Field[];
  draft: Draft;
  change: (draft: Draft) => void;
  /** The first of them has the focus. */
  isFirst?: boolean;
}

/** An input for each field, two beside one another where there is room; what is rare opens. */
export function FieldInputs({ fields, draft, change, isFirst = false }: FieldInputsProps) {
  const [isOpen, open] = useState(false);
  const inputs = (of: readonly Field[]) => (
    <SimpleGrid cols={{ base: 1, xs: 2 }} spacing="sm" verticalSpacing="sm">
      {of.map((field) => (
        <FieldInput
          key={field.name}
          field={field}
          draft={draft}
          isFirst={isFirst && field === fields[0]}
          set={(value) => change({ ...draft, [field.name]: value })}
        />
      ))}
    </SimpleGrid>
  );
  const rare = fields.filter(({ isRare }) => isRare);
  // what is wrong is not hidden
  const isShown =
    isOpen || rare.some((field) => draft[field.name] !== "" && valueOf(field, draft) === undefined);
  return (
    <>
      {inputs(fields.filter(({ isRare }) => !isRare))}
      {rare.length > 0 && (
        <UnstyledButton className={classes["more"]!} aria-expanded={isShown} onClick={() => open(!isOpen)}>
          <IconChevronRight
            size={14}
            aria-hidden
            className={classes["chevron"]!}
            data-open={isShown || undefined}
          />
          More
        </UnstyledButton>
      )}
      {isShown && inputs(rare)}
    </>
  );
}

const order: ("label" | "input" | "description" | "error")[] = ["label", "input", "description", "error"];

interface FieldInputProps {
  field: Field;
  draft: Draft;
  isFirst: boolean;
  set: (value: string | boolean) => void;
}

function FieldInput({ field, draft, isFirst, set }: FieldInputProps) {
  const { name, label, hint, kind, choices = [], isOptional = false, isWide = false } = field;
  const value = draft[name];
  const said = { label, description: hint, "data-autofocus": isFirst || undefined };
  if (kind === "yes") {
    return (
      <Switch
        {...said}
        className={classes["switch"]!}
        checked={value === true}
        onChange={({ currentTarget }) => set(currentTarget.checked)}
      />
    );
  }
  // hints below: labels and inputs of a row stand side by side
  const input = {
    ...said,
    inputWrapperOrder: order,
    className: isWide ? classes["wide"]! : undefined,
  };
  if (kind === "choice") {
    return (
      <Select
        {...input}
        data={choices.map((it) => ({ ...it }))}
        value={value === "" ? null : String(value)}
        allowDeselect={false}
        clearable={isOptional}
        clearButtonProps={{ "aria-label": `Clear ${label}` }}
        comboboxProps={{ withinPortal: false }}
        onChange={(chosen) => set(chosen ?? "")}
      />
    );
  }
  if (kind === "words" || kind === "date") {
    return (
      <TextInput
        {...input}
        type={kind === "date" ? "date" : "text"}
        autoComplete="off"
        value={String(value)}
        onChange={({ currentTarget }) => set(currentTarget.value)}
      />
    );
  }
  return (
    <NumberField
      {...input}
      limits={limitsIn(field, draft)!}
      isFixed={kind === "money"}
      value={String(value)}
      change={set}
    />
  );
}
