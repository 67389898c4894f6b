import { Button, Group, Stack, Table, Text } from "@mantine/core";
import { useState } from "react";
import type { ListedPayment, ParkedPayment } from "tokenbook";
import { useTokenbook } from "tokenbook/react";
import { format, humanized } from "../format.ts";
import { PageName } from "../parts/PageName.tsx";
import { More } from "../parts/More.tsx";
import { Nothing } from "../parts/Nothing.tsx";
import { Section } from "../parts/Section.tsx";
import { Theirs } from "../parts/Theirs.tsx";
import { Waiting } from "../parts/Waiting.tsx";
import { ActDialog } from "../parts/ActDialog.tsx";
import { AdminLink } from "./AdminLink.tsx";
import { AssignDialog } from "./AssignDialog.tsx";
import { useAdmin, useLatePayments, useParkedPayments, useWaitingPayments } from "./queries.ts";
import { Reason } from "./Reason.tsx";
import { ReasonDialog } from "./ReasonDialog.tsx";
import { standings } from "./UserParts.tsx";
import { usePlanName } from "./UsersPage.tsx";
import classes from "./Payments.module.css";

type Deciding =
  | { what: "approve" | "reject"; payment: ListedPayment }
  | { what: "dismiss" | "assign"; parked: ParkedPayment };

/** What waits for somebody to decide, and what was decided lately. */
export function PaymentsPage() {
  const waiting = useWaitingPayments();
  const parked = useParkedPayments();
  const lately = useLatePayments();
  const decided = lately.data?.payments.filter(({ status }) => status !== "pending");
  const [deciding, decide] = useState<Deciding | null>(null);
  const close = () => decide(null);
  return (
    <Stack gap="md">
      <PageName name="Payments" />
      {deciding !== null && "payment" in deciding && (
        <DecideDialog
          what={deciding.what}
          payment={deciding.payment}
          name={whoOf(deciding.payment)}
          close={close}
        />
      )}
      {deciding?.what === "assign" && <AssignDialog parked={deciding.parked} close={close} />}
      {deciding?.what === "dismiss" && <DismissDialog parked={deciding.parked} close={close} />}
      <Section title="To approve or reject">
        {waiting.data === undefined ? (
          <Waiting of={waiting} />
        ) : waiting.data.length === 0 ? (
          <Nothing title="Nothing waits">
            What users ask for without paying at a provider is listed here.
          </Nothing>
        ) : (
          <>
            <ul className={classes["list"]} data-testid="waiting">
              {waiting.data.map((payment) => (
                <li key={payment.id} className={classes["item"]}>
                  <div className={classes["what"]}>
                    <Asked payment={payment} name={whoOf(payment)} />
                  </div>
                  <Group gap="xs" wrap="nowrap">
                    <Button size="xs" onClick={() => decide({ what: "approve", payment })}>
                      Approve
                    </Button>
                    <Button size="xs" variant="default" onClick={() => decide({ what: "reject", payment })}>
                      Reject
                    </Button>
                  </Group>
                </li>
              ))}
            </ul>
            <More of={waiting}>More payments</More>
          </>
        )}
      </Section>
      <Section title="Parked">
        {parked.data === undefined ? (
          <Waiting of={parked} />
        ) : parked.data.length === 0 ? (
          <Nothing title="Nothing is parked">
            Payments that a provider took, and of which nobody knows whose or for what they are, are listed
            here.
          </Nothing>
        ) : (
          <>
            <ul className={classes["list"]} data-testid="parked">
              {parked.data.map((payment) => (
                <li key={`${payment.provider} ${payment.provider_payment_id}`} className={classes["item"]}>
                  <div className={classes["what"]}>
                    <Text size="sm" fw={500} className="words">
                      {payment.amount_cents === null
                        ? "No amount"
                        : format.price(payment.amount_cents, payment.currency ?? "usd")}
                      {" at "}
                      {humanized(payment.provider)}, {format.brief(payment.created_at)}
                    </Text>
                    <Text size="sm" className="words">
                      {payment.explanation}
                    </Text>
                    <Text size="xs" c="dimmed" className="words">
                      {[payment.provider_payment_id, payment.customer_id]
                        .filter((it) => it !== null)
                        .join(", ")}
                    </Text>
                  </div>
                  <Group gap="xs" wrap="nowrap">
                    <Button size="xs" onClick={() => decide({ what: "assign", parked: payment })}>
                      Assign
                    </Button>
                    <Button
                      size="xs"
                      variant="default"
                      onClick={() => decide({ what: "dismiss", parked: payment })}
                    >
                      Dismiss
                    </Button>
                  </Group>
                </li>
              ))}
            </ul>
            <More of={parked}>More parked payments</More>
          </>
        )}
      </Section>
      <Section title="Lately">
        {decided === undefined ? (
          <Waiting of={lately} />
        ) : decided.length === 0 ? (
          <Nothing title="Nothing was decided yet" />
        ) : (
          <Table verticalSpacing={8} horizontalSpacing="xs" className={`plain ${classes["table"]}`}>
            <Table.Thead>
              <Table.Tr>
                <Table.Th scope="col">Payment</Table.Th>
                <Table.Th scope="col" className="number">
                  Amount
                </Table.Th>
                <Table.Th scope="col" className={classes["standing"]!}>
                  Status
                </Table.Th>
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {decided.map((payment) => (
                <Table.Tr key={payment.id}>
                  <Table.Th scope="row" fw={400}>
                    <Asked payment={payment} name={whoOf(payment)} isDecided />
                  </Table.Th>
                  <Table.Td className="number">
                    {format.price(payment.amount_cents, payment.currency)}
                  </Table.Td>
                  <Table.Td className={classes["standing"]!}>{standings[payment.status]}</Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
        )}
      </Section>
    </Stack>
  );
}

/** The user who asked: their address, else their id. */
const whoOf = ({ email, user_id }: ListedPayment) => email ?? user_id;

/** Which user asked for what, and when. */
function Asked({
  payment,
  name,
  isDecided = false,
}: {
  payment: ListedPayment;
  name: string;
  isDecided?: boolean;
}) {
  const what = useWhat(payment);
  const { user_id, amount_cents, currency, created_at, reason, offer_now } = payment;
  const differs = isDecided ? [] : differencesOf(offer_now);
  return (
    <>
      <AdminLink path={`users/${user_id}`} c="var(--mantine-color-text)" fw={500} className="words">
        <Theirs>{name}</Theirs>
      </AdminLink>
      <Text size="sm" className="words">
        <bdi>{what}</bdi>
        {!isDecided && ` · ${format.price(amount_cents, currency)}`}
        <Text span c="dimmed" size="sm">
          {" · "}
          {format.brief(created_at)}
        </Text>
      </Text>
      {isDecided && reason !== null && (
        <Text size="xs" c="dimmed" className="words">
          <Theirs>{reason}</Theirs>
        </Text>
      )}
      {differs.length > 0 && (
        <Text size="xs" className="words">
          The catalogue has changed since: {differs.join(", ")}. What was asked for is what is given.
        </Text>
      )}
    </>
  );
}

/** What of an offer is another by now. */
function differencesOf(offer: Record<string, unknown> | null): string[] {
  const differs = offer?.["differs"];
  return Array.isArray(differs) ? differs.map((it) => humanized(String(it)).toLowerCase()) : [];
}

function useWhat({ to_plan, pack_type, quantity, terms }: ListedPayment): string {
  const planName = usePlanName();
  const name = typeof terms["name"] === "string" ? terms["name"] : null;
  if (to_plan !== null) return name ?? planName(to_plan);
  return `${name ?? humanized(pack_type ?? "")}${quantity > 1 ? ` × ${format.tokens(quantity)}` : ""}`;
}

interface DecideDialogProps {
  what: "approve" | "reject";
  payment: ListedPayment;
  name: string;
  close: () => void;
}

function DecideDialog({ what, payment, name, close }: DecideDialogProps) {
  const books = useTokenbook();
  const thing = useWhat(payment);
  const [reason, setReason] = useState("");
  const isApproval = what === "approve";
  const { user_id: userId, id, amount_cents, currency, terms, quantity } = payment;
  const tokens = typeof terms["tokens"] === "number" ? terms["tokens"] * quantity : null;
  return (
    <ActDialog
      title={isApproval ? "Approve the payment" : "Reject the payment"}
      verb={isApproval ? "Approve" : "Reject"}
      isGrave={!isApproval}
      isReady={isApproval || reason.trim() !== ""}
      close={close}
      act={async () => {
        const why = reason.trim();
        if (!isApproval) {
          await books.payments.reject(id, { userId, reason: why });
          return <Text size="sm">It is rejected, and gave nothing.</Text>;
        }
        const done = await books.payments.approve(id, { userId, ...(why === "" ? {} : { reason: why }) });
        return (
          <Text size="sm">
            {done.replayed
              ? "It had been approved already; nothing was given twice."
              : `${format.tokens(done.tokens_granted)} tokens are given. Their balance is ${format.tokens(done.tokens_remaining)}.`}
          </Text>
        );
      }}
    >
      <Text size="sm" className="words">
        <bdi>{thing}</bdi>, {format.price(amount_cents, currency)}, for <Theirs>{name}</Theirs>.{" "}
        {isApproval &&
          (tokens === null
            ? ""
            : `It gives ${format.tokens(tokens)} tokens at once, whether or not the money has come.`)}
      </Text>
      <Reason value={reason} change={setReason} isFirst isOptional={isApproval} />
    </ActDialog>
  );
}

function DismissDialog({ parked, close }: { parked: ParkedPayment; close: () => void }) {
  const admin = useAdmin();
  return (
    <ReasonDialog
      title="Dismiss the parked payment"
      verb="Dismiss"
      hasReason
      close={close}
      act={async (reason) => {
        await admin.dismissParked(parked.provider, parked.provider_payment_id, { reason });
        return "It is off the list, and gave nothing.";
      }}
    >
      The money stays at the provider: give it back there. It comes back to the list when something else
      becomes known of it.
    </ReasonDialog>
  );
}
