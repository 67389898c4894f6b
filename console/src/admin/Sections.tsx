import { Link } from "@tanstack/react-router";
import classes from "./Sections.module.css";

const sections = [
  { path: "", name: "Users" },
  { path: "payments", name: "Payments" },
  { path: "books", name: "Books" },
  { path: "money", name: "Money" },
  { path: "catalogue", name: "Catalogue" },
  { path: "alerts", name: "Alerts" },
];

/** The way from one page to another. */
export function Sections({ current }: { current: string }) {
  return (
    <nav className={classes["bar"]} aria-label="Pages">
      {sections.map(({ path, name }) => (
        <Link
          key={path}
          to="/admin/$"
          params={{ _splat: path }}
          className={classes["link"]!}
          activeOptions={{ exact: true, includeSearch: false }}
          data-current={current === path || undefined}
        >
          {name}
        </Link>
      ))}
    </nav>
  );
}
