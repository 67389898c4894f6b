import { Textarea } from "@mantine/core";

interface ReasonProps {
  value: string;
  change: (reason: string) => void;
  isFirst?: boolean;
  /** Default: it must be said. */
  isOptional?: boolean;
}

/** The reason: kept with the change, together with the admin who made it. */
export function Reason({ value, change, isFirst = false, isOptional = false }: ReasonProps) {
  return (
    <Textarea
      label="Reason"
      description={isOptional ? "Kept with it; may be empty." : "Kept with it, for anybody who asks later."}
      required={!isOptional}
      withAsterisk={false}
      maxLength={500}
      autosize
      minRows={2}
      maxRows={6}
      data-autofocus={isFirst || undefined}
      value={value}
      onChange={({ currentTarget }) => change(currentTarget.value)}
    />
  );
}
