import { Select, Text } from "@mantine/core";
import { useState } from "react";
import { useTokenBalance, useTokenbook } from "tokenbook/react";
import { dayMs, format } from "../format.ts";
import { ActDialog } from "../parts/ActDialog.tsx";
import { NumberField } from "./NumberField.tsx";
import type { Limits } from "./numbers.ts";
import { numbers } from "./typed.ts";
import { previewOf } from "./preview.ts";
import { PreviewTable } from "./PreviewTable.tsx";
import { Reason } from "./Reason.tsx";

/** As much as one call takes. */
const most = 1_000_000_000_000;

/** Of tokens that are given. */
const given: Limits = { least: 1, most };
/** Of tokens that are given or taken. */
const moved: Limits = { isSigned: true, most };

interface AmountProps {
  label: string;
  description: string;
  limits: Limits;
  value: string;
  change: (typed: string) => void;
}

const Amount = (its: AmountProps) => <NumberField required withAsterisk={false} data-autofocus {...its} />;

/** Corrects a balance, upwards or downwards. */
export function AdjustDialog({ close }: { close: () => void }) {
  const books = useTokenbook();
  const { data: balance } = useTokenBalance();
  const [typed, type] = useState("");
  const delta = numbers.read(typed, moved).value;
  const [reason, setReason] = useState("");
  return (
    <ActDialog
      title="Adjust the balance"
      verb="Adjust"
      isReady={delta !== null && reason.trim() !== ""}
      close={close}
      act={async (idempotencyKey) => {
        const done = await books.adjust(delta!, { reason: reason.trim(), idempotencyKey });
        if (!done.success) {
          return `${format.tokens(done.tokens_remaining_to_deduct)} tokens were missing when it was tried. Nothing has changed.`;
        }
        return (
          <Outcome
            change={delta!}
            remaining={done.tokens_remaining}
            entry={done.transaction_id}
            isRepeated={done.replayed}
          />
        );
      }}
      preview={
        balance !== undefined &&
        delta !== null && (
          <PreviewTable
            preview={previewOf(balance, delta)}
            made={
              delta > 0 ? { tokens: delta, type: "admin", runsOut: "runs out after 365 days" } : undefined
            }
          />
        )
      }
    >
      <Amount
        label="Tokens"
        description="With a minus they are taken, in the order of spending."
        limits={moved}
        value={typed}
        change={type}
      />
      <Reason value={reason} change={setReason} />
    </ActDialog>
  );
}

/** Of the types that every project has, those that are given by hand; each with its lifetime. */
const types = [
  { value: "admin", label: "Admin", days: 365 },
  { value: "bonus", label: "Bonus", days: null },
  { value: "trial", label: "Trial", days: 56 },
  { value: "purchase", label: "Purchase", days: null },
];
const lifetimes = [
  { value: "usual", label: "As its type has it" },
  { value: "7", label: "7 days" },
  { value: "30", label: "30 days" },
  { value: "90", label: "90 days" },
  { value: "365", label: "365 days" },
  { value: "never", label: "Never" },
];

/** Gives tokens as a grant of its own. */
export function GrantDialog({ close }: { close: () => void }) {
  const books = useTokenbook();
  const { data: balance } = useTokenBalance();
  const [typed, write] = useState("");
  const tokens = numbers.read(typed, given).value;
  const [type, setType] = useState("admin");
  const [lifetime, setLifetime] = useState("usual");
  const [reason, setReason] = useState("");
  // from when the dialog was opened: the same moment however often it is tried
  const [opened] = useState(() => Date.now());
  const usual = types.find(({ value }) => value === type)!.days;
  const days = lifetime === "usual" ? usual : lifetime === "never" ? null : Number(lifetime);
  const runsOut = days === null ? "never runs out" : `runs out after ${days} days`;
  return (
    <ActDialog
      title="Grant tokens"
      verb="Grant"
      isReady={tokens !== null && reason.trim() !== ""}
      close={close}
      act={async (idempotencyKey) => {
        const done = await books.grant(tokens!, {
          grantType: type,
          reason: reason.trim(),
          idempotencyKey,
          ...(lifetime === "usual"
            ? {}
            : { expiresAt: days === null ? "infinity" : new Date(opened + days * dayMs) }),
        });
        return (
          <Outcome
            change={done.tokens_granted}
            remaining={done.tokens_remaining}
            entry={done.transaction_id}
            isRepeated={done.replayed}
          />
        );
      }}
      preview={
        balance !== undefined &&
        tokens !== null && (
          <PreviewTable preview={previewOf(balance, tokens)} made={{ tokens, type, runsOut }} />
        )
      }
    >
      <Amount label="Tokens" description="As one grant." limits={given} value={typed} change={write} />
      <Select
        label="Type"
        data={types.map(({ value, label }) => ({ value, label }))}
        value={type}
        allowDeselect={false}
        comboboxProps={{ withinPortal: false }}
        onChange={(value) => setType(value ?? "admin")}
      />
      <Select
        label="Runs out"
        data={lifetimes}
        value={lifetime}
        allowDeselect={false}
        comboboxProps={{ withinPortal: false }}
        onChange={(value) => setLifetime(value ?? "usual")}
      />
      <Reason value={reason} change={setReason} />
    </ActDialog>
  );
}

interface OutcomeProps {
  change: number;
  remaining: number;
  entry: number;
  isRepeated: boolean;
}

/** What came of it. */
export function Outcome({ change, remaining, entry, isRepeated }: OutcomeProps) {
  return (
    <>
      <Text size="sm">
        <Text span fw={600} className="number">
          {format.change(change)}
        </Text>{" "}
        tokens, as entry #{entry}. The balance is{" "}
        <Text span fw={600} className="number">
          {format.tokens(remaining)}
        </Text>
        .
      </Text>
      {isRepeated && (
        <Text size="sm" c="dimmed">
          It had been done already; nothing was done twice.
        </Text>
      )}
    </>
  );
}
