package postgres

import "context"

// Setting is what a setting of the database is within a transaction of the store.
func (s *Store) Setting(ctx context.Context, name string) (value string, err error) {
	err = s.view(ctx, func(v *view) error {
		_, err := v.one(ctx, `SELECT current_setting($1)`, []any{name}, &value)
		return err
	})
	return value, err
}
