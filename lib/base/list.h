/* base/list.h - a doubly linked list whose links live in the elements. */
#ifndef TBI_BASE_LIST_H
#define TBI_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct tbi_list {
    struct tbi_list *prev;
    struct tbi_list *next;
};

#define TBI_CONTAINER(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

static inline void tbi_list_init(struct tbi_list *head)
{
    head->prev = head->next = head;
}

static inline bool tbi_list_empty(const struct tbi_list *head)
{
    return head->next == head;
}

/* Whether a list has this element and no other. */
static inline bool tbi_list_alone(const struct tbi_list *e)
{
    return e->next == e->prev && e->next != e;
}

static inline void tbi_list_push(struct tbi_list *head, struct tbi_list *e) /* at the end */
{
    e->prev = head->prev;
    e->next = head;
    head->prev->next = e;
    head->prev = e;
}

static inline void tbi_list_push_front(struct tbi_list *head, struct tbi_list *e)
{
    tbi_list_push(head->next, e);
}

static inline void tbi_list_remove(struct tbi_list *e) /* safe to repeat */
{
    e->prev->next = e->next;
    e->next->prev = e->prev;
    e->prev = e->next = e;
}

static inline struct tbi_list *tbi_list_shift(struct tbi_list *head) /* NULL when empty */
{
    struct tbi_list *e = head->next;
    if (e == head) {
        return NULL;
    }
    tbi_list_remove(e);
    return e;
}

#define TBI_LIST_FOREACH(it, head)                                                                 \
    for (struct tbi_list *it = (head)->next, *it##_next = it->next; it != (head);                  \
         it = it##_next, it##_next = it->next)

#endif
