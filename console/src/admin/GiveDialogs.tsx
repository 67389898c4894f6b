import { NumberInput, Select, Text } from "@mantine/core";
import { useState } from "react";
import { useTokenBalance, useTokenbook } from "tokenbook/react";
import { format } from "../format.ts";
import { ActDialog } from "./ActDialog.tsx";
import { previewOf } from "./preview.ts";
import { PreviewTable } from "./PreviewTable.tsx";
import { Reason } from "./Reason.tsx";

/** As much as one call takes. */
const most = 1_000_000_000_000;

interface AmountProps {
  label: string;
  description: string;
  value: number | string;
  change: (value: number | string) => void;
  isSigned?: boolean;
}

function Amount({ label, description, value, change, isSigned = false }: AmountProps) {
  return (
    <NumberInput
      label={label}
      description={description}
      required
      withAsterisk={false}
      hideControls
      allowDecimal={false}
      allowNegative={isSigned}
      thousandSeparator
      data-autofocus
      value={value}
      onChange={change}
      error={typeof value === "number" && Math.abs(value) > most ? `At most ${format.tokens(most)}` : null}
    />
  );
}

const isAmount = (value: number | string): value is number =>
  typeof value === "number" && Number.isInteger(value) && value !== 0 && Math.abs(value) <= most;

/** Corrects a balance, upwards or downwards. */
export function AdjustDialog({ close }: { close: () => void }) {
  const books = useTokenbook();
  const { data: balance } = useTokenBalance();
  const [delta, setDelta] = useState<number | string>("");
  const [reason, setReason] = useState("");
  return (
    <ActDialog
      title="Adjust the balance"
      verb="Adjust"
      isReady={isAmount(delta) && reason.trim() !== ""}
      close={close}
      act={async (idempotencyKey) => {
        const done = await books.adjust(Number(delta), { reason: reason.trim(), idempotencyKey });
        if (!done.success) {
          return `${format.tokens(done.tokens_remaining_to_deduct)} tokens were missing when it was tried. Nothing has changed.`;
        }
        return (
          <Outcome
            change={Number(delta)}
            remaining={done.tokens_remaining}
            entry={done.transaction_id}
            isRepeated={done.replayed}
          />
        );
      }}
    >
      <Amount
        label="Tokens"
        description="With a minus they are taken, in the order of spending."
        isSigned
        value={delta}
        change={setDelta}
      />
      <Reason value={reason} change={setReason} />
      {balance !== undefined && isAmount(delta) && (
        <PreviewTable
          preview={previewOf(balance, delta)}
          made={delta > 0 ? { tokens: delta, type: "admin", runsOut: "runs out after 365 days" } : undefined}
        />
      )}
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
const dayMs = 86_400_000;

/** Gives tokens as a grant of its own. */
export function GrantDialog({ close }: { close: () => void }) {
  const books = useTokenbook();
  const { data: balance } = useTokenBalance();
  const [tokens, setTokens] = useState<number | string>("");
  const [type, setType] = useState("admin");
  const [lifetime, setLifetime] = useState("usual");
  const [reason, setReason] = useState("");
  // from when the dialog was opened: the same moment however often it is tried
  const [opened] = useState(() => Date.now());
  const usual = types.find(({ value }) => value === type)!.days;
  const days = lifetime === "usual" ? usual : lifetime === "never" ? null : Number(lifetime);
  const runsOut = days === null ? "never runs out" : `runs out after ${days} days`;
  const isReady = isAmount(tokens) && tokens > 0 && reason.trim() !== "";
  return (
    <ActDialog
      title="Grant tokens"
      verb="Grant"
      isReady={isReady}
      close={close}
      act={async (idempotencyKey) => {
        const done = await books.grant(Number(tokens), {
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
    >
      <Amount label="Tokens" description="As one grant." value={tokens} change={setTokens} />
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
      {balance !== undefined && isAmount(tokens) && tokens > 0 && (
        <PreviewTable preview={previewOf(balance, tokens)} made={{ tokens, type, runsOut }} />
      )}
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
