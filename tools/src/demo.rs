//! `standin demo`.
