import { Button, CopyButton, Group, Stack, Text } from "@mantine/core";
import { IconCheck, IconCopy } from "@tabler/icons-react";
import { useState } from "react";
import { TokenbookError } from "tokenbook";
import { format } from "../../format.ts";
import { ActDialog } from "../ActDialog.tsx";
import { useAdmin, useChanged } from "../queries.ts";
import { codeOf } from "./code.ts";
import { draftOf, isComplete } from "../draft.ts";
import { FieldInputs } from "../FieldInputs.tsx";
import { codeFields } from "./fields.ts";
import classes from "./Code.module.css";

const newCode = { max_redemptions: 1, max_per_user: 1, grant_type: "bonus" };

/** Makes a code, and shows it once. */
export function CodeDialog({ close }: { close: () => void }) {
  const admin = useAdmin();
  const changed = useChanged();
  const [draft, change] = useState(() => draftOf(codeFields, newCode));
  const number = (name: string) => (draft[name] === "" ? undefined : Number(draft[name]));
  const text = (name: string) => String(draft[name]).trim();
  const until = text("valid_until");
  return (
    <ActDialog
      title="New code"
      verb="Make"
      size="lg"
      isReady={isComplete(codeFields, draft)}
      close={close}
      act={async (key) => {
        const chosen = text("code");
        const code = chosen === "" ? await codeOf(key) : chosen;
        try {
          await admin.createCode(Number(draft["tokens"]), {
            name: text("name"),
            maxRedemptions: number("max_redemptions"),
            maxPerUser: number("max_per_user"),
            validUntil: until === "" ? undefined : `${until}T00:00:00Z`,
            lifetimeDays: number("lifetime_days"),
            grantType: text("grant_type"),
            code,
          });
        } catch (error) {
          // only this dialog has this key: the code was made by a call whose answer was lost
          if (chosen !== "" || !(error instanceof TokenbookError) || error.code !== "code_taken") throw error;
        }
        changed();
        return <Made code={code} tokens={Number(draft["tokens"])} />;
      }}
    >
      <FieldInputs fields={codeFields} draft={draft} change={change} isFirst />
      {text("code") !== "" && (
        <Text size="xs" c="dimmed">
          A code of your own can be guessed: its limits are what protects it.
        </Text>
      )}
    </ActDialog>
  );
}

function Made({ code, tokens }: { code: string; tokens: number }) {
  return (
    <Stack gap="xs">
      <Text size="sm">
        A user who redeems it is given {format.tokens(tokens)} tokens. It is shown now, and never again: the
        books keep no more than its digest.
      </Text>
      <Group gap="sm">
        <Text component="code" ff="monospace" fw={600} className={classes["code"]!} data-testid="code">
          {code}
        </Text>
        <CopyButton value={code}>
          {({ copied, copy }) => (
            <Button
              size="xs"
              variant="default"
              leftSection={copied ? <IconCheck size={14} aria-hidden /> : <IconCopy size={14} aria-hidden />}
              onClick={copy}
            >
              {copied ? "Copied" : "Copy"}
            </Button>
          )}
        </CopyButton>
      </Group>
    </Stack>
  );
}
