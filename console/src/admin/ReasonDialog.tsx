import { Text } from "@mantine/core";
import { type ReactNode, useState } from "react";
import { ActDialog } from "../parts/ActDialog.tsx";
import { useChanged } from "./queries.ts";
import { Reason } from "./Reason.tsx";

interface ReasonDialogProps {
  title: string;
  verb: string;
  /** Default: that cannot be undone. */
  isGrave?: boolean;
  /** Left out: none is kept. */
  hasReason?: boolean;
  /** @returns what came of it */
  act: (reason: string) => Promise<string>;
  close: () => void;
  /** What it does. */
  children: ReactNode;
}

/** Something that wants no more than a reason. */
export function ReasonDialog({
  title,
  verb,
  isGrave = true,
  hasReason = false,
  act,
  close,
  children,
}: ReasonDialogProps) {
  const changed = useChanged();
  const [reason, setReason] = useState("");
  return (
    <ActDialog
      title={title}
      verb={verb}
      isGrave={isGrave}
      isReady={!hasReason || reason.trim() !== ""}
      close={close}
      act={async () => {
        const outcome = await act(reason.trim());
        changed();
        return (
          <Text size="sm" className="words">
            {outcome}
          </Text>
        );
      }}
    >
      <Text size="sm" className="words">
        {children}
      </Text>
      {hasReason && <Reason value={reason} change={setReason} isFirst />}
    </ActDialog>
  );
}
