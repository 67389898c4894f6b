import { useParams } from "@tanstack/react-router";
import { Lost } from "../shell/Lost.tsx";
import { AlertsPage } from "./alerts/AlertsPage.tsx";
import { BooksPage } from "./BooksPage.tsx";
import { CataloguePage } from "./catalogue/CataloguePage.tsx";
import { ReconcilePage } from "./ReconcilePage.tsx";
import { MoneyPage } from "./MoneyPage.tsx";
import { PaymentsPage } from "./PaymentsPage.tsx";
import { Sections } from "./Sections.tsx";
import { UserPage } from "./UserPage.tsx";
import { UsersPage } from "./UsersPage.tsx";

/** The pages for admins; the rest of the address says which one. */
export default function Pages() {
  const { _splat = "" } = useParams({ strict: false });
  const [section = "", id, ...rest] = _splat.split("/").filter((part) => part !== "");
  const page = rest.length > 0 ? null : pageOf(section, id);
  return (
    <>
      <Sections current={section === "users" ? "" : section} />
      {page ?? <Lost />}
    </>
  );
}

function pageOf(section: string, id: string | undefined) {
  if (section === "users") return id === undefined ? null : <UserPage key={id} userId={id} />;
  if (section === "books") return id === undefined ? <BooksPage /> : <ReconcilePage key={id} userId={id} />;
  if (id !== undefined) return null;
  if (section === "") return <UsersPage />;
  if (section === "payments") return <PaymentsPage />;
  if (section === "alerts") return <AlertsPage />;
  if (section === "catalogue") return <CataloguePage />;
  return section === "money" ? <MoneyPage /> : null;
}
