//! Statements that need no plan.

mod cursor;
mod ddl;
mod names;
mod queues;
mod roles;
mod settings;
mod tables;
mod text;
mod transaction;

use forebay_catalog::DependentViews;
use forebay_sql::Statement;

use crate::way::{Answer, Request};
use crate::{Error, Result, Session};

pub(crate) use names::find_relation;
pub(crate) use tables::insert_of;
pub(crate) use text::{copy_source, copy_to_file, explain_options};

impl Session {
    /// Carries out a statement that has no plan.
    pub(crate) async fn command(&mut self, request: &Request) -> Result<Answer> {
        let statement = &request.parsed.statement;
        // What the parser says of it: the tag of those that go by several names.
        let tag = statement.classify().statement_type;
        match statement {
            Statement::Begin { modes, .. } => self.begin(*modes, tag),
            Statement::Commit { chain } => self.commit_block(*chain).await,
            Statement::Rollback { chain } => self.roll_back_block(*chain),
            Statement::Savepoint(name) => self.savepoint(name),
            Statement::RollbackTo(name) => self.roll_back_to(name),
            Statement::Release(name) => self.release(name),
            Statement::LockTable { names, .. } => self.lock_table(names),
            Statement::Set { name, value, local } => self.set(name, value.as_deref(), *local),
            Statement::SetTransaction { modes, session } => self.set_transaction(*modes, *session),
            Statement::Unlisten => Ok(Answer::Done(tag.to_owned())),
            Statement::SetRole { role, local, .. } => {
                self.set_role(role.as_deref(), *local)?;
                Ok(Answer::Done(tag.to_owned()))
            }
            Statement::SetSessionAuthorization { role, local, .. } => {
                self.set_session_authorization(role.as_deref(), *local)?;
                Ok(Answer::Done(tag.to_owned()))
            }
            Statement::Show(name) => self.show_setting(name.as_deref()),
            Statement::Reset(name) => self.reset(name.as_deref()),
            Statement::Discard(what) => self.discard(*what),
            Statement::Prepare {
                name,
                types,
                statement,
            } => {
                self.prepare_statement(name, types, (**statement).clone())
                    .await
            }
            Statement::Deallocate(name) => self.deallocate(name.as_deref()),
            Statement::Fetch(fetch) => self.fetch(fetch).await,
            Statement::Close(name) => self.close_cursor(name.as_deref()),
            Statement::CreateExternalTable(table) => self.create_external_table(table).await,
            Statement::CreateView(view) => self.create_view(view).await,
            Statement::CreateSchema {
                name,
                if_not_exists,
            } => self.create_schema(name, *if_not_exists),
            Statement::Drop {
                kind,
                names,
                if_exists,
                cascade,
                leaves_views,
            } => {
                let views = match (cascade, leaves_views) {
                    (true, _) => DependentViews::Drop,
                    (false, true) => DependentViews::Leave,
                    (false, false) => DependentViews::Refuse,
                };
                self.drop_objects(*kind, names, *if_exists, views)
            }
            Statement::CreateTable(table) => self.create_table(table).await,
            Statement::RenameRelation {
                kind,
                name,
                new_name,
            } => self.rename_relation(*kind, name, new_name),
            Statement::Truncate { name, if_exists } => self.truncate(name, *if_exists),
            Statement::CommentOnRelation {
                name,
                column,
                comment,
            } => self.comment_on_relation(name, column.as_deref(), comment.as_deref()),
            Statement::CreateRole {
                name,
                options,
                if_not_exists,
            } => self.create_role(name, options, *if_not_exists),
            Statement::AlterRole { name, options } => self.alter_role(name, options),
            Statement::AlterRoleSet {
                name,
                setting,
                value,
            } => self.alter_role_set(name, setting, value.as_deref()),
            Statement::RenameRole { name, new_name } => self.rename_role(name, new_name),
            Statement::DropRole { names, if_exists } => self.drop_roles(names, *if_exists),
            Statement::CreateResourceQueue { name, options } => self.create_queue(name, options),
            Statement::AlterResourceQueue { name, options } => self.alter_queue(name, options),
            Statement::DropResourceQueue { name, if_exists } => self.drop_queue(name, *if_exists),
            Statement::CommentOnResourceQueue { name, comment } => {
                self.comment_on_queue(name, comment.as_deref())
            }
            Statement::Plan(_)
            | Statement::Explain(_)
            | Statement::Copy(_)
            | Statement::DeclareCursor { .. }
            | Statement::Execute { .. } => Err(Error::new(
                "XX000",
                "internal error: a statement with a plan was taken for a command",
            )),
        }
    }

    fn deallocate(&mut self, name: Option<&str>) -> Result<Answer> {
        match name {
            Some(name) => {
                self.prepared(name)?;
                self.forget_prepared(name);
                Ok(Answer::Done("DEALLOCATE".to_owned()))
            }
            None => {
                self.forget_all_prepared();
                Ok(Answer::Done("DEALLOCATE ALL".to_owned()))
            }
        }
    }
}
